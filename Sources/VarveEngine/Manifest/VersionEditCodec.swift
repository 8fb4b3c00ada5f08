/// Version edits as bytes: a run of (varint tag, varint length, body). A tag that a version does not know is refused by
/// its number when odd and skipped when even. Repeated fields stand once for each item. Format: docs/formats/manifest.md.
extension VersionEdit {
    /// Frozen numbers: part of the file format. Odd ones must be understood.
    enum Tag: UInt64, CaseIterable {
        case identity = 1
        case options = 3
        case nextFileNumber = 5
        case flushed = 7
        case lastCommitTime = 9
        case clock = 11
        case timeline = 13
        case checkpointOrigin = 15
        case slot = 17
        case removedSlot = 19
        case floors = 21
        case removedTable = 23
        case addedTable = 25
    }

    static let slotNameBytes = 255

    func encode(to buffer: inout ByteBuffer) {
        func field(_ tag: Tag, _ body: (inout ByteBuffer) -> Void) {
            var inner = ByteBuffer()
            body(&inner)
            buffer.appendVarint(tag.rawValue)
            buffer.appendVarint(UInt64(inner.count))
            unsafe buffer.append(inner.bytes)
        }
        if let identity {
            field(.identity) { out in
                out.appendID(identity.storeID)
                out.appendID(identity.nodeID)
            }
        }
        if let options { field(.options) { options.encode(to: &$0) } }
        if let nextFileNumber { field(.nextFileNumber) { $0.appendVarint(nextFileNumber) } }
        if let flushed { field(.flushed) { $0.appendPosition(flushed) } }
        if let lastCommitTime { field(.lastCommitTime) { $0.appendFixed(lastCommitTime) } }
        if let clock {
            field(.clock) { out in
                out.appendFixed(clock.reading)
                out.appendFixed(clock.offset)
                out.append(clock.isFrozen ? 1 : 0)
            }
        }
        for origin in timelines { field(.timeline) { $0.appendOrigin(origin) } }
        switch origin {
        case .checkpoint(let position)?: field(.checkpointOrigin) { $0.appendPosition(position) }
        case VersionEdit.OriginChange.none?: field(.checkpointOrigin) { _ in }
        case nil: break
        }
        for slot in slots {
            field(.slot) { out in
                out.appendVarint(slot.lsn.rawValue)
                out.appendVarint(slot.capBytes)
                out.append(Array(slot.name.utf8))
            }
        }
        for name in removedSlots { field(.removedSlot) { $0.append(Array(name.utf8)) } }
        if !floors.isEmpty {
            field(.floors) { out in
                for floor in floors {
                    out.appendVarint(UInt64(floor.slot))
                    out.appendFixed(floor.version)
                }
            }
        }
        for table in removed {
            field(.removedTable) { out in
                out.append(UInt8(table.level))
                out.appendVarint(table.number)
            }
        }
        for table in added {
            field(.addedTable) { out in
                out.append(UInt8(table.level))
                out.appendVarint(table.number)
                table.properties.encode(to: &out)
            }
        }
    }

    /// Reads all that is left of `reader`.
    static func decode(from reader: inout ByteReader) throws(DecodeError) -> VersionEdit {
        var edit = VersionEdit()
        while !reader.isAtEnd {
            let tag = try reader.varint()
            let length = try reader.length(atMost: Limits.manifestEditBytes, "a field's length")
            var field = unsafe ByteReader(try reader.bytes(length))
            guard let known = Tag(rawValue: tag) else {
                if tag & 1 == 1 { throw .unknown("the version edit field \(tag)") }
                continue
            }
            try edit.decode(known, from: &field)
            guard field.isAtEnd else { throw .malformed("version edit field \(tag) is longer than its type") }
        }
        return edit
    }

    private mutating func decode(_ tag: Tag, from field: inout ByteReader) throws(DecodeError) {
        switch tag {
        case .identity: identity = StoreIdentity(storeID: try field.uniqueID(), nodeID: try field.uniqueID())
        case .options: options = try BoundOptions(from: &field)
        case .nextFileNumber: nextFileNumber = try field.fileNumber()
        case .flushed: flushed = try field.logPosition()
        case .lastCommitTime:
            let time: Timestamp = try field.fixed()
            guard time <= LogFormat.latestTime else { throw .outOfRange("commit time \(time)") }
            lastCommitTime = time
        case .clock:
            let (reading, offset): (Timestamp, Int64) = (try field.fixed(), try field.fixed())
            clock = StoreClockState(reading: reading, offset: offset, isFrozen: try field.flag())
        case .timeline: timelines.append(try field.origin())
        case .checkpointOrigin: origin = field.isAtEnd ? OriginChange.none : .checkpoint(of: try field.logPosition())
        case .slot:
            let (lsn, cap) = (try field.varintLSN(), try field.varint())
            slots.append(RetentionSlot(name: try field.name(atMost: Self.slotNameBytes), lsn: lsn, capBytes: cap))
        case .removedSlot: removedSlots.append(try field.name(atMost: Self.slotNameBytes))
        case .floors:
            while !field.isAtEnd {
                let slot = try field.length(atMost: FloorTable.slotCount - 1, "floor slot")
                floors.append(FloorTable.Floor(slot: UInt16(slot), version: try field.fixed()))
            }
        case .removedTable:
            removed.append(RemovedTable(level: try field.level(), number: try field.fileNumber()))
        case .addedTable:
            let (level, number) = (try field.level(), try field.fileNumber())
            added.append(AddedTable(level: level, number: number, properties: try TableProperties.decode(from: &field)))
        }
    }
}

extension BoundOptions {
    fileprivate func encode(to buffer: inout ByteBuffer) {
        buffer.appendFixed(requiredFeatures)
        buffer.appendFixed(optionalFeatures)
        buffer.append(levelCount)
        buffer.append(keyOrder)
        buffer.appendFixed(floorSlots)
    }

    fileprivate init(from field: inout ByteReader) throws(DecodeError) {
        requiredFeatures = try field.fixed()
        optionalFeatures = try field.fixed()
        levelCount = try field.byte()
        keyOrder = try field.byte()
        floorSlots = try field.fixed()
    }
}
