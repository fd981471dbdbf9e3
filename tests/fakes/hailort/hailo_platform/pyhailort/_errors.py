"""The exceptions of the Python half, and how a status becomes one of them."""

from typing import Any

from hailo_platform.pyhailort import _pyhailort
from hailo_platform.pyhailort._pyhailort import HailoRTException


class HailoRTInvalidArgumentException(HailoRTException):
    pass


class HailoRTTimeout(HailoRTException):
    pass


class HailoRTInvalidOperationException(HailoRTException):
    pass


class HailoRTFirmwareControlFailedException(HailoRTException):
    pass


class HailoRTInvalidHEFException(HailoRTException):
    pass


class HailoRTDriverOperationFailedException(HailoRTException):
    pass


class HailoRTNotFoundException(HailoRTException):
    pass


class HailoCommunicationClosedException(HailoRTException):
    pass


class HailoRTStreamAborted(HailoRTException):
    pass


class HailoRTNetworkGroupNotActivatedException(HailoRTException):
    pass


class HailoRTHEFNotCompatibleWithDevice(HailoRTException):
    pass


_OF_STATUS = {
    2: (HailoRTInvalidArgumentException, "Invalid argument. See hailort.log for more information"),
    4: (HailoRTTimeout, "Received a timeout - hailort has failed because a timeout had occurred"),
    6: (HailoRTInvalidOperationException, "Invalid operation. See hailort.log for more information"),
    18: (HailoRTFirmwareControlFailedException, "libhailort control operation failed"),
    26: (HailoRTInvalidHEFException, "Invalid HEF. See hailort.log for more information"),
    36: (
        HailoRTDriverOperationFailedException,
        "Failure in hailort driver ioctl. run 'dmesg | grep hailo' for more information",
    ),
    61: (HailoRTNotFoundException, "Item not found. See hailort.log for more information"),
    62: (HailoCommunicationClosedException, "Communication closed failure. Check server-client connection"),
    63: (HailoRTStreamAborted, "Stream was aborted"),
    69: (HailoRTNetworkGroupNotActivatedException, "Network group is not activated"),
    93: (
        HailoRTHEFNotCompatibleWithDevice,
        "HEF file is not compatible with device. See hailort.log for more information",
    ),
}


class ExceptionWrapper:
    """Turns the native half's status into the exception of its class."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is _pyhailort.HailoRTStatusException:
            raise self.create_exception_from_status(int(value.args[0])) from value

    @staticmethod
    def create_exception_from_status(status: int) -> HailoRTException:
        if status in _OF_STATUS:
            cls, text = _OF_STATUS[status]
            return cls(text)
        name = _pyhailort.get_status_message(status)
        return HailoRTException("libhailort failed with error: {} ({})".format(status, name))
