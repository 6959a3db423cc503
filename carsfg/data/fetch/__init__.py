"""Get Stanford Cars from Kaggle, Hugging Face, addresses or local files into a layout that is read."""
