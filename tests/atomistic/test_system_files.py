"""Files of OpenMM Systems: nothing in them is executed."""

import pytest

from bayescg.atomistic import read_force_field
from bayescg.atomistic.system_files import require_no_code

mm = pytest.importorskip("openmm")


def test_a_pickle_is_not_loaded(tmp_path):
    """A System with a PythonForce, as OpenMM writes it; reading it by OpenMM would load the pickle in it."""
    system = mm.System()
    system.addParticle(1.0)
    text = mm.XmlSerializer.serialize(system)
    force = '<Force type="PythonForce" computation="gASVAAAAAA==" forceGroup="0" version="1"/>'
    for written in (force, force.replace("PythonForce", "&#80;ythonForce"), force.replace('"', "'")):
        changed = text.replace("<Forces/>", f"<Forces>{written}</Forces>")
        assert changed != text
        (tmp_path / "system.xml").write_text(changed)
        with pytest.raises(ValueError, match="holds a PythonForce, which is code that would run"):
            read_force_field(tmp_path / "system.xml")
    # A comment of one parser may end earlier for another.
    hidden = text.replace("<Forces/>", f"<Forces><!-- > {force} --></Forces>")
    told = text.replace("<Forces/>", f"<Forces><? x > {force} ?></Forces>")
    for written in (hidden, told, f'<!DOCTYPE x [<!ENTITY a "b">]>\n{text}'):
        (tmp_path / "system.xml").write_text(written)
        with pytest.raises(ValueError, match="has comments, entities or instructions"):
            read_force_field(tmp_path / "system.xml")
    require_no_code(text, "system.xml")


def test_files_that_are_no_xml(tmp_path):
    (tmp_path / "system.xml").write_text("no XML")
    with pytest.raises(ValueError, match="holds no OpenMM System"):
        read_force_field(tmp_path / "system.xml")
