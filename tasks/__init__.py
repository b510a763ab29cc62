"""The steps, plan ▶ extract ▶ stage ▶ copy ▶ upsert ▶ summarize, and what they share."""
