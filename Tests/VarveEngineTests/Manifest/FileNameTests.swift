import Testing

@testable import VarveEngine

/// File names are built and parsed in one place, and one file has one spelling.
@Suite struct FileNameTests {
    @Test(arguments: [
        ("CURRENT", FileName.current), ("LOCK", .lock), ("CLOSED", .closed), ("DEGRADED", .degraded),
        ("MANIFEST-000005", .manifest(5)), ("000012.log", .log(12)), ("000013.sst", .table(13)),
        ("12345678.sst", .table(12_345_678)),
    ])
    func aNameIsBuiltAndParsed(text: String, name: FileName) {
        #expect(FileName(text) == name)
        #expect(name.description == text)
    }

    @Test(arguments: [
        "", "12.log", "0000012.log", "+00012.log", "00001a.sst", ".sst", "MANIFEST-", "MANIFEST-5", "current",
        "99999999999999999999.sst", "000012.log.bak", "CURRENT.tmp",
    ])
    func anyOtherSpellingIsNoneOfOurs(text: String) { #expect(FileName(text) == nil) }

    @Test func anUnfinishedFileHasItsOwnName() {
        #expect(FileName.current.temporaryPath(in: "/store") == "/store/CURRENT.tmp")
        #expect(FileName.isTemporary("000013.sst.tmp") && !FileName.isTemporary("notes.tmp"))
        #expect(FileName.table(7).path(in: "/store") == "/store/000007.sst")
        #expect(FileName.log(7).number == 7 && FileName.lock.number == nil)
    }
}
