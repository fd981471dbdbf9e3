"""The calls of farm.v1.DeviceService, by what they are about."""
