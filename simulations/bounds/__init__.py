"""What nobody can beat: the clairvoyant's cost at a given attainment.

`program` is the linear program in which work may wait as long as its objective allows: a lower bound of
what any policy must pay, policies that know the whole trace included. `queue` is the program in which
prefills wait in one queue: higher, and proven of one replica.
"""
