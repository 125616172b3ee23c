"""The peer: what somebody would write who follows the document that the project was created from."""
