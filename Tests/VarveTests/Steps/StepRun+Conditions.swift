import Testing
import VarveEngine
import VarveTestSupport

@testable import Varve

/// Changes that depend on what is there.
extension StepRun {
    mutating func changeInOneStep(_ key: Int, _ way: Int) async throws {
        switch way {
        case 0, 1: try await setIfVersion(key, try await expected(key))
        case 2: try await add(key)
        case 3: try await replace(key)
        case 4: try await update(key)
        case 5: try await increment(key)
        default: try await take(key)
        }
    }

    /// A version that may stand, that stood, that another key has, or that is a place in another history.
    private mutating func expected(_ key: Int) async throws -> EntryVersion? {
        try await check(key)
        let present = model.live(key, at: now)?.version
        switch draw(7) {
        case 0: return nil
        case 1:
            let olds = model.keys[key].olds
            return olds.isEmpty ? nil : olds[draw(olds.count)]
        case 2: return model.keys[(key + 1) % model.keys.count].entry?.version
        case 3: return present.map { EntryVersion(history: $0.history ^ 1, number: $0.number, load: $0.load) }
        case 4: return model.former.isEmpty ? present : model.former[draw(model.former.count)]
        default: return present
        }
    }

    private mutating func setIfVersion(_ key: Int, _ expected: EntryVersion?) async throws {
        let (given, write) = (entryOptions(), model.nextWrite())
        let standing = model.live(key, at: now)?.version
        let version = try await cache.set(write * 1000, for: name(key), ifVersion: expected, given)
        let text = "\(place): \(expected as Any) where \(standing as Any) stands"
        #expect((version != nil) == (standing == expected), "\(text)")
        if version != nil { put(key, write * 1000, given, version, write) }
    }

    private mutating func add(_ key: Int) async throws {
        let (given, write) = (entryOptions(), model.nextWrite())
        let isThere = model.live(key, at: now) != nil
        let version = try await cache.add(write * 1000, for: name(key), given)
        #expect((version == nil) == isThere, "\(place): added")
        if version != nil { put(key, write * 1000, given, version, write) }
    }

    private mutating func replace(_ key: Int) async throws {
        let (given, write) = (entryOptions(), model.nextWrite())
        let isThere = model.live(key, at: now) != nil
        let version = try await cache.replace(write * 1000, for: name(key), given)
        #expect((version != nil) == isThere, "\(place): replaced")
        if version != nil { put(key, write * 1000, given, version, write) }
    }

    /// Without options the expiry begins anew by the cache's own, and the rest stays.
    private mutating func update(_ key: Int) async throws {
        let live = model.live(key, at: now)
        let given = draw(3) == 0 ? entryOptions() : nil
        let write = model.nextWrite()
        let removes = draw(4) == 0
        var seen: Int?
        let left = try await cache.update(name(key), given) { value in
            seen = value
            value = removes ? nil : write * 1000
        }
        #expect(seen == live?.value && left == (removes ? nil : write * 1000), "\(place): updated \(seen as Any)")
        if removes {
            // Where there is nothing, nothing is written.
            if live != nil { model.remove(key) }
            return
        }
        var new = entry(write * 1000, given ?? EntryOptions(), write)
        if given == nil, let live { (new.tags, new.source) = (live.tags, live.source) }
        model.put(key, new)
    }

    /// Without options all stays but the value: only a deadline that reads move is moved.
    private mutating func increment(_ key: Int) async throws {
        let live = model.live(key, at: now)
        let given = draw(3) == 0 ? entryOptions() : nil
        let write = model.nextWrite()
        let sum = try await cache.increment(name(key), by: write, given)
        #expect(sum == (live?.value ?? 0) + write, "\(place): incremented")
        var new = entry(sum, given ?? EntryOptions(), write)
        if given == nil, let live {
            (new.tags, new.source, new.idle, new.limit, new.until) =
                (live.tags, live.source, live.idle, live.limit, live.until)
            new.noteRead(at: now)
        }
        model.put(key, new)
    }

    private mutating func take(_ key: Int) async throws {
        let live = model.live(key, at: now)
        let taken = try await cache.take(name(key))
        #expect(taken == live?.value, "\(place): taken")
        if live != nil { model.remove(key) }
    }

    /// The disk has something newer than memory, as by a write that has not come back yet: what a change in one step finds
    /// is what the disk has, and from then on memory has nothing else.
    mutating func changeBehindMemory(_ key: Int) async throws {
        guard let disk = cache.disk else { return }
        try await check(key)
        let seen = model.live(key, at: now)
        let write = model.nextWrite()
        if draw(3) > 0 {
            let number = try await disk.engine.put(
                cache.keyBytes(name(key)), (write * 1000).cacheBytes(), in: disk.namespace)
            var new = StepModel.Entry(write * 1000, write: write)
            new.version = cache.version(number.rawValue)
            model.put(key, new)
        } else {
            try await disk.engine.delete(cache.keyBytes(name(key)), in: disk.namespace)
            model.remove(key)
        }
        let way = draw(8)
        if way < 2, let version = seen?.version {
            try await setIfVersion(key, version)
        } else {
            try await changeInOneStep(key, 2 + way % 5)
        }
        let held = cache.valueInMemory(for: name(key))
        #expect(held == nil || held == model.live(key, at: now)?.value, "\(place): memory has what the disk has not")
    }
}
