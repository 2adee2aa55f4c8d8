"""Coming from an HPA or KEDA: what they asked for in our words, and who writes the scale, handed from one to the other.

Reads what others wrote leniently and says of each field what became of it; nothing here decides how many replicas
there are to be.
"""
