//! A virtual Ethernet in user space.
