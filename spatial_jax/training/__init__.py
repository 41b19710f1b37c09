"""State, optimizer, update step and outer loop; align, SFT, DPO and GRPO hold only what differs."""
