"""The node in the trader's hands: it trades under its owner's limits and reports what it did."""
