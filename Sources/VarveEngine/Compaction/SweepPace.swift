internal import Synchronization

/// How many of the ghost's sightings go by while sweeps go through the whole store once: a *turn*.
///
/// It is what a reuse has to be measured against. An entry that was not read for a turn is forgotten, so what comes back
/// later than that after its first sighting would, at the same distance, be gone again before its next: storing it costs a
/// write for nothing, and pushes others out. That is the comparison of LIRS (Jiang and Zhang, SIGMETRICS 2002), with the
/// age of the queue's end for the recency of the victim.
///
/// The past fades with what is swept, so that a turn is about the last one. Where sweeps stop the turn under way grows
/// with every sighting: whoever admits too little to keep sweeps going admits more by and by. Any thread, no locks; of two
/// passes that end at once one may not be counted.
struct SweepPace: ~Copyable, Sendable {
    /// The sighting from which the turns are counted, and above it the turns since, in 2^-24.
    private let state: Atomic<UInt64>

    private static let one = 16_777_216.0
    /// The weight, in turns, of what is supposed before anything was swept.
    private static let priorTurns = 0.125

    /// `supposed`: what a turn is taken to last before anything was swept.
    init(supposed: UInt64, now: UInt32) { state = Atomic(SweepPace.prior(supposed, now)) }

    func restart(supposed: UInt64, now: UInt32) { state.store(SweepPace.prior(supposed, now), ordering: .relaxed) }

    private static func prior(_ supposed: UInt64, _ now: UInt32) -> UInt64 {
        word(now, elapsed: Double(supposed) * priorTurns, turns: priorTurns)
    }

    private static func word(_ now: UInt32, elapsed: Double, turns: Double) -> UInt64 {
        let start = now &- UInt32(min(elapsed, Double(UInt32.max)))
        return UInt64(max(1, turns * one)) << 32 | UInt64(start)
    }

    /// Sightings a turn, as of this moment.
    func turn(now: UInt32) -> UInt64 {
        let word = state.load(ordering: .relaxed)
        return UInt64(now &- UInt32(truncatingIfNeeded: word)) << 24 / (word >> 32)
    }

    /// A sweep has gone through `share` of the store.
    func note(swept share: Double, now: UInt32) {
        let word = state.load(ordering: .relaxed)
        let share = min(1, max(0, share))
        let fading = 1 / (1 + share)
        let elapsed = Double(now &- UInt32(truncatingIfNeeded: word))
        let turns = Double(word >> 32) / SweepPace.one + share
        state.store(SweepPace.word(now, elapsed: elapsed * fading, turns: turns * fading), ordering: .relaxed)
    }
}
