import Testing
import VarveIO
import VarveTestSupport

/// Who waits for something to happen hears of it, whenever that is.
struct SignalTests {
    @Test("What is raised while somebody looks has him look again")
    func raisedMeanwhile() throws {
        let signal = Signal()
        let looks = Watched(0)
        let waiting = try IOThread(name: "test") {
            signal.wait { () -> Void? in
                looks.update { $0 += 1 }
                guard looks.current < 3 else { return () }
                // As another thread would, at the worst moment: nobody raises it again.
                signal.raise()
                return nil
            }
        }
        #expect(looks.wait { $0 == 3 })
        // Who did not hear of it is let go: the test fails and does not hang.
        looks.update { $0 = 3 }
        signal.raise()
        waiting.join()
    }

    @Test("What holds already is not waited for")
    func holdsAlready() {
        #expect(Signal().wait { 7 } == 7)
    }
}
