"""What is played besides replies: files, tones, music, and the messages that ask for it."""
