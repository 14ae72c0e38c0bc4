"""What a trained policy depends on, is fooled by, and keeps of its input; and what happened in training.

Works on saved runs. Attributions and attacks come from captum, probes from scikit-learn; both are the extra "look".
"""
