"""What things cost, against what a user would pick instead; results as JSON under results/."""
