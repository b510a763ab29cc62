"""Automations of Prefect's server that registration makes, and people may switch off."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger
from prefect.exceptions import ObjectNotFound

from ferry.errors import ConfigurationError
from ferry.runs.notice import Notice


def register_message(
    client: SyncPrefectClient,
    name: str,
    description: str,
    trigger: EventTrigger,
    notice: Notice,
    notifier: str,
) -> str:
    """Let the server itself send a message; safe to run again.

    One that is there already as it is to be is left alone: with a change, the server forgets what
    it was waiting for. Whether it is switched on stays as people left it.

    Args:
        client: Of the server.
        name: The automation's; one of that name is changed, not doubled, and of several one is
            left.
        description: What the UI shows beside the name.
        trigger: When the message is sent.
        notice: The message.
        notifier: The notification block, `slack-webhook/ferry`.

    Returns:
        The name of the automation.

    Raises:
        ConfigurationError: There is no such block.
    """
    wanted = AutomationCore(
        name=name,
        description=description,
        trigger=trigger,
        actions=[
            SendNotification(
                block_document_id=_block_id(notifier, client),
                subject=notice.subject,
                body=notice.body,
            )
        ],
    )
    there = client.read_automations_by_name(name)
    if not there:
        client.create_automation(wanted)
        return name
    before, *doubles = there  # two registrations at once have each made one
    wanted.enabled = any(each.enabled for each in there)
    if _content(before) != _content(wanted):
        client.update_automation(before.id, wanted)
    for each in doubles:
        client.delete_automation(each.id)
    return name


def sends_to_nothing(client: SyncPrefectClient, name: str) -> bool:
    """Whether an automation of this name sends by a block that is not there any more.

    It knows the block by its id: one that is made anew under the same name is another.
    """
    for automation in client.read_automations_by_name(name):
        for action in automation.actions if automation.enabled else ():
            if isinstance(action, SendNotification):
                try:
                    client.read_block_document(action.block_document_id, include_secrets=False)
                except ObjectNotFound:
                    return True
    return False


def _content(automation: AutomationCore) -> dict[str, object]:
    """What was registered, in the same words whether the server tells it or it is about to be."""
    settings = automation.model_dump(mode="json", include=set(AutomationCore.model_fields))
    for each in {"after", "expect", "for_each"} & settings["trigger"].keys():  # sets, in no order
        settings["trigger"][each] = sorted(settings["trigger"][each])
    return settings


def _block_id(notifier: str, client: SyncPrefectClient) -> UUID:
    slug, _, name = notifier.partition("/")
    try:
        return client.read_block_document_by_name(name, slug, include_secrets=False).id
    except ObjectNotFound:
        raise ConfigurationError(
            f"the notification block {notifier!r} is not there",
            expected="one as <type>/<name>, such as slack-webhook/ferry",
            todo="Make it in Prefect's UI, or correct FERRY_NOTIFY, which is read here, too.",
        ) from None
