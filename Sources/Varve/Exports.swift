// What the cache's own interface names (errors, durability, positions) is the engine's: who imports Varve has it too.
@_exported public import VarveEngine
