"""From one process to many machines: jobs for schedulers, tables of many runs, engines that share work out.

Schedulers do the scheduling and engines the distributing; what lies here writes their files and asks them. Nothing here
knows a model, and nothing imports torch.
"""
