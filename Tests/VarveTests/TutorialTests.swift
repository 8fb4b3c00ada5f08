import Foundation
import Synchronization
import Testing
import VarveTestSupport

// The tutorial's code, in which `ArticleTests` (TidyTests) finds the blocks of Tutorial.md.
import Varve

struct Product: Codable, Sendable, Equatable {
    var id: Int
    var name: String
    var cents: Int
    var shelf: String
    /// Where the database's log was at the row's last change: it grows across all rows.
    var version: UInt64
}

func openCatalogue(in folder: String) async throws -> Cache<Int, Product> {
    var options = CacheOptions(memory: .megabytes(64), disk: .gigabytes(2))
    options.expiry = Expiry(usable: .seconds(3600), fresh: .seconds(600), jitter: 0.1)
    options.loading.absence = .seconds(60)
    options.loading.hardTimeout = .seconds(10)
    return try await Cache.open(at: folder, options)
}

/// Stands for the database of the tutorial.
final class Database: Sendable {
    private let rows = Mutex<[Int: Product]>([:])
    /// Where its log is.
    let position = Mutex<UInt64>(0)
    let questions = Mutex(0)
    /// Where one who has read a row waits before he has it.
    let door = Mutex<Door?>(nil)

    func product(_ id: Int) async throws -> Product? {
        questions.withLock { $0 += 1 }
        let row = row(id)
        await door.withLock { $0 }?.pass()
        return row
    }

    func row(_ id: Int) -> Product? { rows.withLock { $0[id] } }

    func setPrice(of id: Int, to cents: Int) async throws -> Product? {
        rows.withLock { rows in
            rows[id]?.cents = cents
            rows[id]?.version = position.withLock { position in
                position += 1
                return position
            }
            return rows[id]
        }
    }

    func add(_ product: Product) {
        position.withLock { $0 = max($0, product.version) }
        rows.withLock { $0[product.id] = product }
    }
    func withdraw(shelf: String) { rows.withLock { $0 = $0.filter { $0.value.shelf != shelf } } }
}

func product(_ id: Int, in catalogue: Cache<Int, Product>, from database: Database) async throws -> Product? {
    try await catalogue.value(
        for: id,
        loading: { id in
            guard let row = try await database.product(id) else { return Loaded(nil) }
            return Loaded(row, .init(tags: ["shelf/\(row.shelf)"], sourceVersion: row.version))
        })
}

func setPrice(of id: Int, to cents: Int, in catalogue: Cache<Int, Product>, and database: Database) async throws {
    guard let row = try await database.setPrice(of: id, to: cents) else { return }
    try await catalogue.set(row, for: id, .init(tags: ["shelf/\(row.shelf)"], sourceVersion: row.version))
}

func clear(shelf: String, in catalogue: Cache<Int, Product>) async throws {
    try await catalogue.remove(taggedWith: "shelf/\(shelf)", durability: .synced)
}

func openWarmCatalogue(in folder: String) async throws -> Cache<Int, Product> {
    let catalogue = try await openCatalogue(in: folder)
    await catalogue.ready(share: 0.95, atMost: .seconds(10))
    return catalogue
}

func report(on catalogue: Cache<Int, Product>) -> String {
    let minute = catalogue.statistics(over: .lastMinute)
    return "hits \(minute.hitRatio), in memory \(minute.memoryHitRatio), loads \(minute.loads)"
}

/// What the tutorial builds does what the tutorial says.
@Suite struct TutorialTests {
    @Test func theCatalogueServesUpdatesClearsAndComesBackWarm() async throws {
        let folder = try TemporaryDirectory()
        let database = Database()
        for id in 0..<20 {
            database.add(
                Product(id: id, name: "thing \(id)", cents: 100, shelf: id < 10 ? "left" : "right", version: 1))
        }
        var catalogue = try await openCatalogue(in: folder.path + "/catalogue")
        for _ in 0..<3 {
            for id in 0..<20 { #expect(try await product(id, in: catalogue, from: database)?.cents == 100) }
            #expect(try await product(77, in: catalogue, from: database) == nil)
        }
        #expect(database.questions.withLock { $0 } == 21)
        // Its minute may have passed on a busy machine.
        #expect(catalogue.statistics.loads == 21)
        #expect(report(on: catalogue).contains("loads "))

        try await setPrice(of: 3, to: 250, in: catalogue, and: database)
        database.withdraw(shelf: "left")
        #expect(try await product(3, in: catalogue, from: database)?.cents == 250)
        #expect(try await product(4, in: catalogue, from: database) != nil)
        try await clear(shelf: "left", in: catalogue)
        for id in 0..<10 { #expect(try await product(id, in: catalogue, from: database) == nil) }
        #expect(database.questions.withLock { $0 } == 31)

        try await catalogue.close()
        catalogue = try await openWarmCatalogue(in: folder.path + "/catalogue")
        for id in 10..<20 { #expect(try await product(id, in: catalogue, from: database)?.cents == 100) }
        #expect(database.questions.withLock { $0 } == 31)
        try await catalogue.close()
    }
}
