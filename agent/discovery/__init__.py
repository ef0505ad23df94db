"""Finding the readers that are plugged in or heard, without anybody having configured them.

`usb_watch` and `ble_watch` tell what is there, as `sighting.Sighting`; `probing` asks it who it is; `finder` puts the
two together and gives the supervisor a place for each reader.
"""
