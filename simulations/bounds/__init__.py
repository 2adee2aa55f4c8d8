"""What nobody can beat: the clairvoyant's cost at a given attainment.

`levels` is the exact optimum where work is served in the step in which it arrives; `program` is the
linear program in which work may also wait as long as its objective allows. Both are lower bounds of
what any policy must pay, policies that know the whole trace included.
"""
