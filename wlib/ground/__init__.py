"""What all else stands on, without torch: files, the code's fingerprint, what the store holds."""
