"""Wyoming, the protocol of Home Assistant's voice assistants, in front of live sessions."""
