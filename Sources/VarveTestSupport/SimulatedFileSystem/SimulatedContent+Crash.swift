/// What a power cut leaves of what was not synced.
public struct CrashOptions: Sendable {
    public enum Survival: Sendable {
        case nothing, everything
        /// By the seed: nothing, everything, the state of one moment with its last change torn, or each page (or sector)
        /// as of a moment of its own.
        case random
    }

    /// Bytes and file lengths.
    public var data = Survival.random
    /// Names in folders.
    public var names = Survival.random

    public init(data: Survival = .random, names: Survival = .random) {
        self.data = data
        self.names = names
    }
}

extension SimulatedContent {
    /// The file as the next boot finds it; everything in it is durable.
    func afterCrash(seed: UInt64, survival: CrashOptions.Survival) -> SimulatedContent {
        if isClean { return durableImage(length: length, pages: pages) }
        let plan = CrashPlan(seed: seed, survival: survival, settled: settled, count: journal.count)
        let newLength = plan.lengthMoment == settled ? durableLength : journal[plan.lengthMoment - 1].lengthAfter
        var image = pages
        let count = Self.pageCount(newLength)
        if image.count > count { image.removeLast(image.count - count) }
        if image.count < count { image.append(contentsOf: repeatElement(nil, count: count - image.count)) }
        for (index, page) in dirty where index < count {
            image[index] = survivor(of: page, at: index, plan)
        }
        let rest = newLength % SimulatedPage.size
        if rest > 0, let last = image[count - 1] {
            // What a longer file had there must not show when it grows again.
            let cut = SimulatedPage(copying: last)
            cut.clear(rest..<SimulatedPage.size)
            image[count - 1] = cut
        }
        return durableImage(length: newLength, pages: image)
    }

    private func durableImage(length: Int, pages: [SimulatedPage?]) -> SimulatedContent {
        var image = SimulatedContent()
        image.length = length
        image.durableLength = length
        image.pages = pages
        image.allocatedPages = pages.reduce(0) { $1 == nil ? $0 : $0 + 1 }
        return image
    }

    private func survivor(of dirty: DirtyPage, at index: Int, _ plan: CrashPlan) -> SimulatedPage? {
        var moments = plan.moments(page: index, changes: dirty.changes)
        if let moment = moments.whole {
            let applied = dirty.changes.count { isApplied($0, at: moment, plan.lengthMoment) }
            if applied == 0 { return dirty.durable }
            if applied == dirty.changes.count { return index < pages.count ? pages[index] : nil }
            moments.sectors = [moment]
        }
        let result = SimulatedPage(copying: dirty.durable)
        let step = SimulatedPage.size / moments.sectors.count
        for (number, moment) in moments.sectors.enumerated() {
            let range = (number * step)..<((number + 1) * step)
            for change in dirty.changes where isApplied(change, at: moment, plan.lengthMoment) {
                replay(change, onto: result, page: index, range: range)
            }
        }
        return result
    }

    /// Bytes are there from the moment at which the sector was written back; a shrink is the file system's own affair
    /// and comes with the length.
    private func isApplied(_ change: Int, at moment: Int, _ lengthMoment: Int) -> Bool {
        if case .shrink = journal[change].change { return change < lengthMoment }
        return change < moment
    }

    private func replay(_ change: Int, onto page: SimulatedPage, page index: Int, range: Range<Int>) {
        switch journal[change].change {
        case .grow: break
        case .shrink(let newLength):
            let start = max(range.lowerBound, newLength - index * SimulatedPage.size)
            if start < range.upperBound { page.clear(start..<range.upperBound) }
        case .write(let offset, let bytes):
            unsafe bytes.withUnsafeBytes { unsafe page.copy($0, at: offset, page: index, range: range) }
        }
    }
}

/// The decisions of one file's crash, all of them from the seed. A moment m is the state after the first m changes.
private struct CrashPlan {
    enum Style { case lost, kept, moment, scattered }

    let style: Style
    /// The moment whose length the file has.
    let lengthMoment: Int
    /// The moment of the whole file, by `Style.moment`.
    let fileMoment: Int
    let count: Int
    let seed: UInt64

    init(seed: UInt64, survival: CrashOptions.Survival, settled: Int, count: Int) {
        var random = SplitMix(seed)
        let styles: [Style] = [.lost, .kept, .moment, .moment, .scattered, .scattered]
        switch survival {
        case .nothing: style = .lost
        case .everything: style = .kept
        case .random: style = styles[Int(random.next() % UInt64(styles.count))]
        }
        let moment = settled + Int(random.next() % UInt64(count - settled + 1))
        switch style {
        case .lost: (lengthMoment, fileMoment) = (settled, 0)
        case .kept: (lengthMoment, fileMoment) = (count, count)
        case .moment: (lengthMoment, fileMoment) = (moment, moment)
        // Half the time the length is all there, or tails that were written would hardly ever show.
        case .scattered: (lengthMoment, fileMoment) = (random.next() & 1 == 0 ? count : moment, 0)
        }
        self.count = count
        self.seed = random.next()
    }

    struct Moments {
        /// Nil where the page is torn.
        var whole: Int?
        /// One moment for each sector of a torn page.
        var sectors: [Int] = []
    }

    func moments(page: Int, changes: [Int]) -> Moments {
        var random = SplitMix(seed ^ (UInt64(page) &* 0xD6E8_FEB8_6659_FD93))
        let sectorCount = SimulatedPage.size / SimulatedPage.sectorSize
        /// Before the changes, or after any of them.
        func anyMoment() -> Int {
            let choice = Int(random.next() % UInt64(changes.count + 1))
            return choice == 0 ? 0 : changes[choice - 1] + 1
        }
        switch style {
        case .lost: return Moments(whole: 0)
        case .kept: return Moments(whole: count)
        case .moment:
            // The change in flight when the power went, if it touched this page, came in part.
            guard fileMoment > 0, changes.contains(fileMoment - 1) else { return Moments(whole: fileMoment) }
            return Moments(
                whole: nil, sectors: (0..<sectorCount).map { _ in fileMoment - Int(random.next() & 1) })
        case .scattered:
            if random.next() & 1 == 0 { return Moments(whole: anyMoment()) }
            return Moments(whole: nil, sectors: (0..<sectorCount).map { _ in anyMoment() })
        }
    }
}
