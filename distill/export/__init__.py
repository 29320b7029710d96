"""Export: the student as folders and files for production, each checked against the model it came from."""
