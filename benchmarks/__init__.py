"""What a verification costs, beside its floor and its peers."""
