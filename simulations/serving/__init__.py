"""The serving model: what a fleet of vLLM replicas does with requests, in whole nanoseconds.

`columns` is what goes in and comes out, `profiles` what one replica can do, `fleet` the door.
`reference` steps every iteration and defines the truth; everything faster must equal it.
"""
