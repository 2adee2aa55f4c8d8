"""Is it good on spot: the engine and SkyServe over recorded markets, held against who knows the market.

    python -m simulations.studies.spot --traces FOLDER [--only WORD] [--seeds N] [--hours H] [--jobs N] [-o table|json]

replays two days of recorded traffic over every recording of a spot market in the folder, spot at 0.35 of
the price on demand, and says of each row what it cost, attained and lost, which share of the
clairvoyant's saving it had, and which of the bars it meets.

*The clairvoyant* serves with the very replicas that the engine pays for where all is on demand, so it
attains the same; it knows the market, and has each of them on spot whenever there is a machine for it,
without a start or a move to pay for. The bars are held against the one that keeps the warm replica on
demand that the resource demands, as the engine must; `free` is the share of what one saves that need not.

*Lost short*: requests that died on a node under notice although their generation would have ended within
what their pod was given: the lead, less the margin before the deadline and two seconds (until the mark is
there, and of whole seconds). And those that were sent there later than a tick after the notice.
"""
