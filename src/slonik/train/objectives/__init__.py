"""What objectives and scores of several rooms are made of: masking, a model's vocabulary head, losses per example.

Pure functions of arrays and tensors: nothing here reads a corpus, steps an optimizer or knows what a model is for. The
objectives themselves lie in the rooms that train with them.
"""
