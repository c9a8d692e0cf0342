//! Sound: RTP ports and who hears whom.

mod py;
