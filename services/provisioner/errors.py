"""What the provisioner refuses."""

from __future__ import annotations

from shared.errors import Conflict, FieldError, Forbidden, NotFound, TooMany, Unavailable


class NoSuchWorkspace(NotFound):
    title = "There is no such workspace"


class NotEntitled(Forbidden):
    code = "not-entitled"
    title = "Your company has no plan that lets workspaces run"


class LimitReached(Forbidden):
    code = "limit-reached"
    title = "Your plan does not allow more workspaces"


class StorageFull(Forbidden):
    code = "storage-full"
    title = "Your company's files take all the storage of your plan"


class StorageLocked(Forbidden):
    code = "storage-locked"
    title = "Your company's storage is full and its files went on growing"


class NameTaken(Conflict):
    code = "name-taken"
    title = "Your company has a workspace of this name"

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("name", "taken", self.title)])


class BeingDeleted(Conflict):
    code = "being-deleted"
    title = "This workspace was deleted"


class NoAddressLeft(Unavailable):
    code = "no-address-left"
    title = "This platform has no room for another workspace at the moment"


class TooManyStreams(TooMany):
    code = "too-many-streams"
    title = "Too many pages of yours follow the workspaces at once"
