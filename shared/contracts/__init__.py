"""Every message between the farm's processes. The table of streams and their rules: docs/contracts.md."""

from shared.contracts.codec import Message, Part, contracts, decode, encode
from shared.contracts.control import (
    AiWorkers,
    AppKind,
    AppSpec,
    CodecName,
    Direction,
    EndReason,
    MediaAnswer,
    MediaClose,
    MediaEnded,
    MediaFormat,
    MediaOpen,
    MediaStart,
    MediaUpdate,
    OpusSettings,
    RtpEndpoint,
    SrtpKeys,
    SrtpSuite,
    TurnSettings,
)
from shared.contracts.events import CallEvent
from shared.contracts.speech import (
    DialogueAttach,
    DialogueDetach,
    DialogueUpdate,
    DtmfReceived,
    Mark,
    PcmToMedia,
    PcmToStt,
    ReplyEnd,
    ReplyFrame,
    SegmentPlayed,
    Speak,
    SpeakCancel,
    SpeechStarted,
    StageTimes,
    SttAttach,
    SttDetach,
    Transcript,
    UtteranceFrame,
)

__all__ = [
    "AiWorkers", "AppKind", "AppSpec", "CallEvent", "CodecName", "DialogueAttach", "DialogueDetach", "DialogueUpdate",
    "Direction", "DtmfReceived", "EndReason", "Mark", "MediaAnswer", "MediaClose", "MediaEnded", "MediaFormat",
    "MediaOpen", "MediaStart", "MediaUpdate", "Message", "OpusSettings", "Part", "PcmToMedia", "PcmToStt", "ReplyEnd",
    "ReplyFrame", "RtpEndpoint", "SegmentPlayed", "Speak", "SpeakCancel", "SpeechStarted", "SrtpKeys", "SrtpSuite",
    "StageTimes", "SttAttach", "SttDetach", "Transcript", "TurnSettings", "UtteranceFrame", "contracts", "decode", "encode",
]  # fmt: skip
