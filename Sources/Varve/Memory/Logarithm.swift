internal import Glibc

/// The one function of the C library that the cache needs.
enum Logarithm {
    static func natural(_ number: Double) -> Double { log(number) }
}
