"""Traffic for thousands of archives: a fleet that shares bases, sessions that come and go with the day, access logs.

The recipe is the one that comes closest to a public production trace of exactly this problem (GenTD26, in
alibaba/clusterdata): Zipf popularity, geometric sessions, an hourly profile. Independent (Poisson) arrivals overstate
misses about twofold and are kept, under the label `pessimistic`, for comparison only.
"""
