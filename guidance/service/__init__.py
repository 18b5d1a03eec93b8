"""The live driver: sockets, lanes and recorder around the core. The rim; nothing here decides."""
