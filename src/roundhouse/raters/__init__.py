"""Rater statistics on one tidy ratings table, usable on their own in a notebook.

    from roundhouse.raters import agreement, table, worth
    votes = table.tidy(pd.DataFrame({"item": ..., "rater": ..., "label": ...}))
    agreement.alpha_interval(agreement.from_table(votes), draws=1000, confidence=0.95, seed=1)
    worth.fit(votes).interval(0.95)

The table
    table       the one door: canonical feedback rows, or a frame made by hand, to the tidy table
Do they agree?
    agreement   Krippendorff's alpha, percent agreement, Gwet's AC1, the ceiling they put on a model
    pairs       votes as pairs of raters
    bootstrap   raters drawn again: intervals that hold for raters like these
    breakdown   agreement by domain, region, guideline or round
    confusion   votes against what the others say
    guidelines  what a new guideline changed
    onboarding  how newcomers come up to the pool
    taste       how far two raters agree beyond their skills
    regions     does a region differ in taste; is one missing
    binomial    exact tails and intervals of a share
Who can be trusted with what?
    worth       how sharply each rater sees, how much better one answer is; items differ
    reliability Dawid and Skene's model, in which they do not
    opinion     what a small text model says of items that it has not seen
Who changed?
    peers       what one vote says of its rater, against all others or a check item
    drift       did this rater change: peers and check items as one p, and how many votes turned
    anchors     did the pool change, or did the items get harder
    cusum       between rounds: a rater's votes as they come, an alarm and when it began
    change      this round's agreement against the last
Who does not look?
    pool        what is usual among raters, robustly, and how far one of them is from it
    habits      place, length, time, runs and contradictions of one rater beside the others
    collusion   groups who agree with each other beyond what they know
    conspicuous which habits are far enough from what is usual to matter
    spam        one finding a rater: clear, a habit, fixed, random, colluding, or a view
    poisoning   what one rater can do to a model: shares and caps, tied words, influence
What follows?
    evidence    all tests of a round, turned into a state of each rater in it
    minority    views that a region shares
    verdict     states and weights
    alarm       did the pool change: a note, a warning or a block
    notes       regions, guidelines, newcomers and what cannot be known, in sentences
    shares      the part of the weight that each region keeps
    capping     no rater above a share of a round's weight
    fading      old feedback by its use
    influences  what each rater does to a model: share, tied words, influence
    effect      cap, fading and influences in a round
    aggregate   votes to pairs, demonstrations and flagged answers
    story       a round as it is seen: tables, pictures, the page for a lead of raters
    stage       the stage of a round that does all of it
What next?
    planning    what the next labels cost and can show
    choosing    which pairs to have labelled
"""
