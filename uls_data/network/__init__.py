"""The network in the loop: plans, training, checkpoints, and nnU-Net's folders both ways.

Only this stage knows torch and dynamic-network-architectures (extra `network`). Arrays
that reach the network are (z, y, x), as nnU-Net has them; those of files are [x, y, z].
"""
