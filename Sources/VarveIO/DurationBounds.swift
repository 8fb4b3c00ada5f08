extension Duration {
    /// Whole nanoseconds, at least 0, at most some 292 years. (`components` traps where the seconds do not fit 64 bits.)
    package var clampedNanoseconds: Int64 { Int64(clamping: max(0, attoseconds) / 1_000_000_000) }

    /// At least nothing, at most some 136 years, which stand for "for ever": timers, clocks and the kernel add the present to
    /// a duration, and trap where the sum does not fit.
    package var clampedForTimers: Duration { min(max(.zero, self), .seconds(1 << 32)) }
}
