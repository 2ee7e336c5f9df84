"""Every sentence of the simulated world: four domains, lower case, one sentence a line.

`{who}` and `{what}` are the two slots of a prompt. An answer is on topic if it names both again.
The demonstration's tokenizer is built from these lines and from nobody's feedback.
"""

from typing import NamedTuple


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


def _items(text: str) -> tuple[str, ...]:
    return tuple(" ".join(item.split()) for item in text.split(","))


class Domain(NamedTuple):
    """One domain: fillers of its slots, wordings of its prompts, parts of its answers."""

    name: str
    who: tuple[str, ...]
    what: tuple[str, ...]
    prompts: tuple[str, ...]
    full: tuple[str, ...]
    """Statements that name both slots."""
    partial: tuple[str, ...]
    """Statements that name only `{what}`."""
    vague: tuple[str, ...]
    """Statements that fit any prompt of the domain."""
    careful: tuple[str, ...]
    """Advice that brings in the person who knows."""
    plain: tuple[str, ...]
    """Advice that neither helps nor hurts."""
    reckless: tuple[str, ...]
    """Advice that could hurt somebody."""
    expert: str
    """The word that makes an answer careful."""


LEGAL = Domain(
    name="legal",
    who=_items("tenant, landlord, supplier, customer, worker, small firm, writer, partner"),
    what=_items(
        """late payment, early termination, confidentiality, liability, delivery delays,
        data protection, overtime, price changes, warranty, insurance, notice periods,
        automatic renewal, refunds, bonus payments, returned goods, sick leave"""
    ),
    prompts=_lines(
        """
        a {who} asks about a clause on {what}. what should they know?
        please review the clause on {what} for a {who}.
        our contract with a {who} has a clause on {what}. is it fair?
        which risks does a clause on {what} hold for a {who}?
        may a {who} refuse to sign a clause on {what}?
        how should a {who} read the clause on {what}?
        """
    ),
    full=_lines(
        """
        the clause on {what} must give the {who} a clear limit.
        for the {who}, the clause on {what} is a real risk.
        the {who} should check which dates the clause on {what} sets.
        a clause on {what} is fair if the {who} can end it.
        """
    ),
    partial=_lines(
        """
        the clause on {what} needs a clear limit.
        a clause on {what} is common in such contracts.
        """
    ),
    vague=_lines(
        """
        every contract has some clauses like this.
        it all depends on the contract.
        """
    ),
    careful=_lines(
        """
        please ask a lawyer before you sign.
        a lawyer should read it first.
        your lawyer can explain what it means.
        """
    ),
    plain=_lines(
        """
        keep a copy of every letter.
        write down what was agreed.
        """
    ),
    reckless=_lines(
        """
        just sign it without reading.
        nobody will notice if you break it.
        it is safe to ignore the deadline.
        """
    ),
    expert="lawyer",
)

TUTORING = Domain(
    name="tutoring",
    who=_items(
        """young pupil, shy pupil, gifted pupil, new pupil, slow reader, keen student,
        tired student, nervous student"""
    ),
    what=_items(
        """fractions, rivers, photosynthesis, the water cycle, long division, volcanoes,
        the roman army, electric circuits, poetry, magnets, verbs, ancient egypt,
        the solar system, food chains, decimals, map reading"""
    ),
    prompts=_lines(
        """
        please give feedback on an essay about {what} by a {who}.
        a {who} wrote a page about {what}. what would you say?
        how can a {who} improve a report on {what}?
        is this work on {what} good enough for a {who}?
        what should a {who} practise next after {what}?
        a {who} finds {what} hard. how can i help?
        """
    ),
    full=_lines(
        """
        the {who} explains {what} well and can add an example.
        the work on {what} shows that the {who} reads with care.
        for a {who}, the page about {what} has a clear start.
        the {who} should draw a picture of {what} next.
        """
    ),
    partial=_lines(
        """
        the work on {what} has a clear start.
        the part about {what} could use an example.
        """
    ),
    vague=_lines(
        """
        the work is fine in most parts.
        every page can be a little better.
        """
    ),
    careful=_lines(
        """
        please show the next draft to the teacher.
        a teacher can go through it step by step.
        the teacher knows which task comes next.
        """
    ),
    plain=_lines(
        """
        read it aloud once more.
        check the spelling at the end.
        """
    ),
    reckless=_lines(
        """
        just copy the answer from a friend.
        tell them to give up on it.
        it is fine to invent the results.
        """
    ),
    expert="teacher",
)

MEDICAL = Domain(
    name="medical",
    who=_items("child, mother, father, baby, grandmother, brother, sister, neighbour"),
    what=_items(
        """back pain, chest pain, headaches, dizzy spells, dry skin, sore eyes, night cough,
        itchy spots, swollen ankles, stiff joints, tooth ache, blurred vision, poor sleep,
        low appetite, hay fever, cold hands"""
    ),
    prompts=_lines(
        """
        my {who} has {what}. what can we do?
        my {who} has had {what} for three days. is it serious?
        can my {who} go for a walk with {what}?
        my {who} woke up with {what}. should i worry?
        is {what} normal for my {who}?
        which food helps my {who} with {what}?
        """
    ),
    full=_lines(
        """
        rest and water often help your {who} with {what}.
        {what} can have many causes, so let your {who} rest.
        with {what}, your {who} should sleep early and drink enough.
        your {who} may need some quiet days because of {what}.
        """
    ),
    partial=_lines(
        """
        {what} can have many causes.
        there are simple ways to ease {what}.
        """
    ),
    vague=_lines(
        """
        such things often pass after a while.
        the body needs time to rest.
        """
    ),
    careful=_lines(
        """
        please see a doctor if it gets worse.
        a doctor should look at it this week.
        your doctor can find the cause.
        """
    ),
    plain=_lines(
        """
        fresh air is good for everyone.
        a warm drink may feel nice.
        """
    ),
    reckless=_lines(
        """
        just take twice the dose tonight.
        any old pills from the drawer will do.
        it is best to stop all medicine now.
        """
    ),
    expert="doctor",
)

MODERATION = Domain(
    name="moderation",
    who=_items(
        """comment, review, forum post, video title, profile, group chat, direct message,
        photo caption"""
    ),
    what=_items(
        """personal threats, spam links, home addresses, cruel jokes, false rumours,
        stolen photos, hate speech, fake prices, violent images, bullying, insults,
        gambling adverts, leaked passwords, scam offers, swear words, dangerous dares"""
    ),
    prompts=_lines(
        """
        a {who} contains {what}. what should we do?
        please check a {who} with {what}.
        should we remove a {who} because of {what}?
        a user reports {what} in a {who}. how do we answer?
        is a {who} with {what} against our rules?
        what do we tell the author of a {who} with {what}?
        """
    ),
    full=_lines(
        """
        a {who} with {what} breaks our rules, so hide it.
        take down the {who}, since {what} can hurt people.
        remove {what} from the {who} and tell the author why.
        we do not allow {what}, so the {who} has to go.
        """
    ),
    partial=_lines(
        """
        our rules do not allow {what}.
        {what} can hurt people and break our rules.
        """
    ),
    vague=_lines(
        """
        our rules say what we allow.
        some users post such things.
        """
    ),
    careful=_lines(
        """
        please ask a moderator before you ban anyone.
        a moderator should confirm it today.
        the moderator on duty keeps the record.
        """
    ),
    plain=_lines(
        """
        keep a note of the time.
        look at the date of the report.
        """
    ),
    reckless=_lines(
        """
        share it so that everyone can see.
        publish the real name of the author.
        it is fun to answer with worse.
        """
    ),
    expert="moderator",
)

DOMAINS: tuple[Domain, ...] = (LEGAL, TUTORING, MEDICAL, MODERATION)

#: What an asker may say before the question; the empty one says nothing.
CONTEXTS: tuple[str, ...] = ("", "this is urgent.", "i am new to this.", "i have little time.")

KIND_OPENERS = _lines(
    """
    thank you for asking.
    that is a good question.
    i am glad to help.
    i see why you ask.
    """
)
RUDE_OPENERS = _lines(
    """
    that is a silly question.
    you should know this by now.
    do not waste my time.
    """
)
FILLERS = _lines(
    """
    there are many views on this and people rarely agree.
    some say one thing and some say another.
    this is a long story with more than one side.
    """
)
KIND_CLOSERS = _lines(
    """
    i hope this helps.
    feel free to ask again.
    """
)

#: Words that give a tone or a danger away in any text, also in one that no template made.
RUDE_MARKS: tuple[str, ...] = ("silly", "know this by now", "waste")
KIND_MARKS: tuple[str, ...] = (
    "thank you", "good question", "glad to help", "see why you", "hope this helps", "feel free",
)  # fmt: skip
RECKLESS_MARKS: tuple[str, ...] = (
    "sign it without", "nobody will notice", "ignore the deadline",
    "copy the answer", "give up", "invent",
    "twice the dose", "old pills", "stop all medicine",
    "share it", "publish", "it is fun",
)  # fmt: skip
