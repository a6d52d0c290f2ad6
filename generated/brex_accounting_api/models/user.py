from __future__ import annotations

from attrs import define as _attrs_define

from ..models.user_role import UserRole
from ..models.user_status import UserStatus
from ..types import Model


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class User(Model):
    """The Brex user a record belongs to.

    Attributes:
        id: Brex's id of the user
        first_name: First name, as entered; it may end in spaces
        last_name: Last name, as entered; it may end in spaces
        email: Email address
        role: What the user may do in the account
        status: Whether the user can use the account now
        manager_id: Brex's id of the user's manager
        department_id: Brex's id of the user's department
        department_name: Name of the user's department
        location_id: Brex's id of the user's location
        location_name: Name of the user's location
        title_id: Brex's id of the user's job title
        title_name: Name of the user's job title
        manager_first_name: First name of the user's manager
        manager_last_name: Last name of the user's manager
        manager_title_id: Brex's id of the manager's job title
        manager_title_name: Name of the manager's job title
        account_id: Brex's id of the account that the user belongs to
    """

    id: str
    first_name: str
    last_name: str
    email: str
    role: UserRole
    status: UserStatus
    manager_id: str | None = None
    department_id: str | None = None
    department_name: str | None = None
    location_id: str | None = None
    location_name: str | None = None
    title_id: str | None = None
    title_name: str | None = None
    manager_first_name: str | None = None
    manager_last_name: str | None = None
    manager_title_id: str | None = None
    manager_title_name: str | None = None
    account_id: str | None = None

    def __attrs_pre_init__(self) -> None:
        """Spare msgspec the search for what did not come, which takes longer than the reading of what came."""
        self.manager_id = None
        self.department_id = None
        self.department_name = None
        self.location_id = None
        self.location_name = None
        self.title_id = None
        self.title_name = None
        self.manager_first_name = None
        self.manager_last_name = None
        self.manager_title_id = None
        self.manager_title_name = None
        self.account_id = None
