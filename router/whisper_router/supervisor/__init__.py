"""Engine processes: started, watched, leased and stopped.

`supervisor.Supervisor` holds one `pool.ModelPool` per alias; a pool leases workers of its
`process.EngineProcess`es; a process owns its state (`machine`) and one `child.Child` at a time.
"""
