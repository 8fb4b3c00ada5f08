import Testing
import VarveTestSupport

@testable import VarveEngine

/// The format's bytes as they stand: what is decoded here must decode for ever (docs/formats/log.md).
@Suite struct GoldenLogTests {
    /// Annotated hex to bytes: what stands behind a # is for the reader.
    private func bytes(_ annotated: [String]) -> [UInt8] {
        let digits = annotated.flatMap { line in line.prefix { $0 != "#" }.filter { !$0.isWhitespace } }
        return stride(from: 0, to: digits.count - 1, by: 2).compactMap {
            UInt8(String(digits[$0...($0 + 1)]), radix: 16)
        }
    }

    @Test("Frames script: what is written as hex, and what it means")
    func script() throws {
        let header = LogFixture.header()
        var encoder = FrameEncoder(salt: header.salt, position: header.position, lastCommitTime: 0)
        var decoder = FrameDecoder(header)
        try ScriptTest.run("log-frames") { command in
            switch command.name {
            case "reset":
                encoder = FrameEncoder(salt: header.salt, position: header.position, lastCommitTime: 0)
                decoder = FrameDecoder(header)
                return "at \(header.position)"
            case "header":
                return hex(Array(header.encoded().prefix(128))) + "\n" + hex(Array(header.encoded().suffix(8)))
            case "put":
                var payload = ByteBuffer()
                let words = command.arguments
                unsafe Array(words[0].utf8).withUnsafeBytes { key in
                    unsafe ([0] + Array(words[1].utf8)).withUnsafeBytes { entry in
                        unsafe BatchWriter.append(.put, .default, key: key, entry: entry, to: &payload)
                    }
                }
                return hex(encoder.make(payload.array()).bytes)
            case "mark":
                return hex(encoder.make(Array(command.arguments[0].utf8), kind: .mark).bytes)
            case "restart":
                encoder.demandRestart()
                return ""
            case "decode":
                let frame = bytes(command.input)
                return unsafe frame.withUnsafeBytes { frame in
                    do throws(FrameFault) {
                        let decoded = unsafe try decoder.decode(frame)
                        return "\(decoded.header.kind) \(decoded.header.firstLSN) time \(decoded.header.commitTime)"
                            + " synced \(decoded.header.syncedLSN) raw \(decoded.rawLength) -> \(decoded.positionAfter)"
                    } catch {
                        return error.text
                    }
                }
            default:
                return "no such command"
            }
        }
    }

    private func hex(_ bytes: [UInt8]) -> String {
        stride(from: 0, to: bytes.count, by: 32).map { start in
            bytes[start..<min(start + 32, bytes.count)].map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
                .joined(separator: " ")
        }.joined(separator: "\n")
    }

    @Test("No bytes make a decoder trap", arguments: 0..<10 as Range<UInt64>)
    func garbage(seed: UInt64) throws {
        var random = SplitMix(seed)
        let header = LogFixture.header()
        let encoder = FrameEncoder(salt: header.salt, position: header.position, lastCommitTime: 0)
        let decoder = FrameDecoder(header)
        for _ in 0..<300 {
            var frame = encoder.make(LogFixture.payload(&random, bytes: Int(random.next() % 200))).bytes
            for _ in 0..<(random.next() % 4) {
                frame[Int(random.next() % UInt64(frame.count))] = random.byte()
            }
            // A right checksum over wrong bytes: what a checksum cannot stop.
            let claimed = Int(frame[8]) | Int(frame[9]) << 8
            if claimed > 24, claimed <= frame.count {
                LogFixture.seal(&frame, length: claimed, salt: header.salt)
            }
            unsafe frame.withUnsafeBytes { frame in
                _ = try? unsafe decoder.decode(frame)
                _ = unsafe FrameSearch.evidence(in: frame, salt: header.salt, floor: LSN(1))
                var reader = unsafe BatchReader(frame)
                while (try? reader.next()) ?? nil != nil {}
                _ = try? unsafe TimelineRecord.decode(frame)
                _ = try? unsafe ClockRecord.decode(frame)
                _ = try? unsafe SegmentHeader(decoding: frame)
            }
        }
    }
}
