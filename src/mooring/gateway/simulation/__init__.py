"""Many simulated devices in one process: load for a gateway, and proof that it loses nothing. The client side uses
asyncio, so that what is measured is the server and not the threads of its clients."""
