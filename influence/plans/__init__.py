"""What an audit will do and claim, fixed before anything is trained."""
