"""Key presses: telephone events and tones, in and out, and one event for each press. docs/dtmf.md says it whole."""

from mediaworker.core.dtmf.receiver import DtmfReceiver

__all__ = ["DtmfReceiver"]
