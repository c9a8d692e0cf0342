"""Sound: ports, RTP/RTCP and who hears whom, in Rust, in a process of its own; here is its thin client.

Only `media/src/py.rs` knows Python. This room imports no other room of the house.
"""
