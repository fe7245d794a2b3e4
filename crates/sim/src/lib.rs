//! the seeded world: the shipped machines under loss, delay, duplication and crashes
