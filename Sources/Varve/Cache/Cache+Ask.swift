extension Cache {
    /// One call to the source, for one key or many: let through, timed and judged as one. With the time that it took.
    func ask<Answer: Sendable>(
        for keys: [Key], _ call: @escaping @Sendable () async throws -> Answer
    ) async throws -> (answer: Answer, took: Int64) {
        let admission: LoadGuard<Key>.Admission
        do throws(LoadRefused) { admission = try loadGuard.admit(at: store.clock.now()) } catch {
            counts.add(.loadRefused)
            throw error
        }
        let start = Latencies.now()
        counts.add(.load)
        let answer: Answer
        do {
            defer { latencies.load.add(since: start) }
            answer = try await bounded(call)
        } catch {
            if Task.isCancelled {
                loadGuard.noteCancelled(admission)
            } else {
                counts.add(.loadFailure)
                if error is LoadTimeout { counts.add(.loadTimeout) }
                loadGuard.noteFailure(keys, admission, error, at: store.clock.now())
            }
            throw error
        }
        loadGuard.noteSuccess(keys, admission)
        let took = Latencies.now() &- start
        loadTime.note(took)
        return (answer, took)
    }

    /// The loader's answer; `LoadTimeout` after the hard timeout. Nothing that comes after the call was given up.
    private func bounded<Answer: Sendable>(
        _ call: @escaping @Sendable () async throws -> Answer
    ) async throws -> Answer {
        if let limit = options.loading.hardTimeout {
            return try await LoaderCall.run(atMost: limit, or: LoadTimeout(limit: limit), call)
        }
        let answer = try await call()
        try Task.checkCancellation()
        return answer
    }
}
