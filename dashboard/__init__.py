"""Show it: one Streamlit page per question."""
