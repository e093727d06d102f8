"""What a model costs: time, memory, bytes, FLOPs; in this process, side by side with peers, and by MOROCCO's logs.

Modules are imported one by one where they are used, so that a measuring process loads nothing it does not need.
"""
